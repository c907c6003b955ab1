"""The batch script that starts one worker in a job. Pure: a printable text that people can read and tests assert on."""

import shlex
from collections.abc import Mapping, Sequence

from ebbflow.adapters.launch_output import END_TAG, START_TAG
from ebbflow.adapters.providers.slurm.jobs import comment_of
from ebbflow.core import worker_environment
from ebbflow.core.instance import LaunchRequest

_HEAD = """\
#!/bin/bash
# Worker {worker_id} of fleet {fleet}. Written by Ebbflow's Slurm provider; stdout may carry NewURL, DoRetries and
# DeclareFailed as SwarmUI's launch scripts print them.

# Set by --export=NONE; an srun in this job would inherit nothing.
unset SLURM_EXPORT_ENV
{exports}
command=({command})
for file in "${{command[@]}}"; do
    [[ -f $file && -r $file ]] || continue
    head -c 65536 -- "$file" | grep -a '^#SBATCH' | while IFS= read -r line; do
        echo "Ebbflow ignores, in $file: $line (set it in the block)" >&2
    done
done
"""

_PLAIN = """
exec "${command[@]}"
"""

# 40 tries 15 s apart outlive a restart of the controller. All of the comment must fit into 1000 characters, else it is
# refused as a whole. An ended worker's last words are waited for, and no longer: its GPUs are free after that.
_ANNOUNCING = """
# Puts what the worker says into the job's comment, which the listing shows: the last DoRetries, then the one message
# that decides; until then the first line that was meant as one and is none, for the person who wrote the worker.
publish() {{
    local LC_ALL=C line body value prefix strange= retries= word= _
    while [[ -z $word ]] && IFS= read -r line; do
        line=${{line#"${{line%%[![:space:]]*}}"}}
        line=${{line%"${{line##*[![:space:]]}}"}}
        body=${{line#{start}}}
        body=${{body#"${{body%%[![:space:]]*}}"}}
        value=${{body#*:}}
        value=${{value%{end}}}
        if [[ $line != {start}*{end} ]]; then
            [[ -z $strange ]] || continue
            prefix=${{line%%{start}*}}
            (( ${{#prefix}} <= 40 )) || line=...${{line:${{#prefix}}-40}}
            strange=${{line:0:200}}
            strange=${{strange//[^[:print:]]/?}}
        elif [[ $body == DoRetries:* ]] && (( ${{#line}} < 100 )); then
            retries=$line
        elif [[ $body == NewURL:* && $value == *[![:space:]]* ]] && (( ${{#line}} < 600 )); then
            word=$line
        elif [[ $body == DeclareFailed:* ]]; then
            word={start}DeclareFailed:${{value:0:400}}{end}
        else
            continue
        fi
        [[ -z $word ]] || strange=
        set -- ${{strange:+"$strange"}} ${{retries:+"$retries"}} ${{word:+"$word"}}
        printf -v line '%s\\n' "$@"
        for _ in {{1..40}}; do
            "$scontrol" update JobId="$SLURM_JOB_ID" Comment={mark}";r=${{SLURM_RESTART_COUNT:-0}};said=$line" && break
            sleep 15
        done
    done
    cat >/dev/null
}}

# Before the worker costs anything: can its address be told at all? A controller that is away now, or that has not read
# its jobs back yet, is tried again later.
scontrol={scontrol}
if ! said=$("$scontrol" update JobId="$SLURM_JOB_ID" Comment={mark}";r=${{SLURM_RESTART_COUNT:-0}};said=" 2>&1); then
    case $said in
        *"not found"* | *"No such file"* | *"ermission denied"* | *"Unexpected message"* | *"ncompatible"* | *"Insane"*)
            echo "Ebbflow: $scontrol does not work on this node, so that no address can be told: $said" >&2
            echo "Ebbflow: set the folder of Slurm's commands there in the block, or its url_channel to file" >&2
            exit 78
            ;;
    esac
fi

# Progress bars end their lines with carriage returns. Without stdbuf they would be kept back until there are many.
unbuffered=$(command -v stdbuf) && lines=("$unbuffered" -oL tr '\\r' '\\n') || lines=(cat)
exec 4>&1
signals=(HUP INT QUIT ALRM VTALRM USR1 USR2 XCPU WINCH TERM)
exec 5> >(trap '' "${{signals[@]}}"; tee -a /dev/fd/4 | "${{lines[@]}}" | grep -aF --line-buffered {start} | publish)
reader=$!
"${{command[@]}}" >&5 4>&- 5>&- &
worker=$!
exec 5>&-
# What Slurm sends to the batch shell (--signal=B:USR1@120) is meant for the worker.
for signal in "${{signals[@]}}"; do
    trap "kill -$signal \\"\\$worker\\" 2>/dev/null" "$signal"
done
while :; do
    wait "$worker"
    code=$?
    kill -0 "$worker" 2>/dev/null || break
done
for _ in {{1..150}}; do
    kill -0 "$reader" 2>/dev/null || break
    sleep 0.2
done
exit "$code"
"""


def batch_script(
    request: LaunchRequest,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    through_comment: bool,
    commands_folder: str | None = None,
) -> str:
    """The script of one worker's job.

    Args:
        request: whose worker it is, and what its master needs.
        command: the worker's program and arguments, one word each.
        environment: what the settings give it; the request's and our own names go before.
        through_comment: whether the job itself puts what the worker announces into its comment.
        commands_folder: where Slurm's commands are on the nodes; None: on the PATH of a login.
    """
    variables = {**environment, **worker_environment.given(request)}
    head = _HEAD.format(
        worker_id=request.worker_id,
        fleet=request.fleet,
        exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        command=" ".join(shlex.quote(word) for word in command),
    )
    if not through_comment:
        return head + _PLAIN
    mark = shlex.quote(comment_of(request.worker_id, request.home))
    scontrol = shlex.quote(f"{commands_folder}/scontrol" if commands_folder else "scontrol")
    return head + _ANNOUNCING.format(
        mark=mark, scontrol=scontrol, start=shlex.quote(START_TAG), end=shlex.quote(END_TAG)
    )
