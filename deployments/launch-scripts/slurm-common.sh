# What both Slurm scripts share; sourced after common.sh.
: "${SLURM_PARTITION:=gpu}"
: "${SLURM_GPUS:=1}"
: "${SLURM_TIME:=08:00:00}"
: "${SLURM_EXTRA:=}"            # more options, blank-separated, for instance --account=lab --qos=short
: "${BIND_ADDRESS:=0.0.0.0}"    # on the node: its address in the cluster's own network, if it has more than one

# The job's name carries the worker id: whoever knows the id finds the job.
# shellcheck disable=SC2206
options=(--nodes=1 --ntasks=1 "--gpus=$SLURM_GPUS" "--partition=$SLURM_PARTITION" "--time=$SLURM_TIME" $SLURM_EXTRA)

# In a job, or after an salloc, Slurm's own variables would change what is asked for. Where its configuration is stays.
without_slurm=(env)
for name in ${!SLURM_*} ${!SBATCH_*} ${!SRUN_*} ${!SQUEUE_*} ${!SCANCEL_*}; do
    [[ $name == SLURM_CONF ]] || without_slurm+=(-u "$name")
done

# The work folder must be on a disk that the nodes share: the worker writes its address there.
worker_words() {
    printf '%s\0' "$here/worker.sh" "$work/data" "$work/address" "$SWARMUI_FOLDER" "$REQUIRE_CONTROL_WITHIN" \
        "$PORTS" "$BIND_ADDRESS"
}

cancel() { "${without_slurm[@]}" scancel --name "$worker" --user "$(id -un)"; }
