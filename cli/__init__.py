"""The command `ebbflow`: one thin module a command. What it does lives in the rooms below."""
