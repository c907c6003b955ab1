"""Workers as processes of this host: a program of the operator's (`local`), or a launch script."""
