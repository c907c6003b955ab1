#!/bin/bash
# Starts a private Slurm cluster on this computer for tests: one munged, one slurmctld, N slurmd
# (virtual nodes n1..nN with fake GPUs). No systemd, no files outside DIR, loopback only.
#
#   up.sh [options] DIR            every option also has an environment variable (in brackets)
#     --nodes N          virtual nodes                             [SLURM_TEST_NODES, 4]
#     --gpus G           fake GPUs per node                        [SLURM_TEST_GPUS, 8]
#     --port P           controller port; node i uses P+i          [SLURM_TEST_PORT, 26817]
#     --munge-socket F   socket path, at most 100 characters       [SLURM_TEST_MUNGE_SOCKET, DIR/munge.sock]
#     --min-job-age S    seconds a finished job stays visible      [SLURM_TEST_MIN_JOB_AGE, 30]
#     --node-timeout S   SlurmdTimeout                             [SLURM_TEST_NODE_TIMEOUT, 30]
#     --preempt          adds partitions low (requeue), lowc (cancel), high   [SLURM_TEST_PREEMPT=1]
#     --conf FILE        extra slurm.conf lines, appended          [SLURM_TEST_CONF]
#     --install          install missing packages (Debian, root)   [SLURM_TEST_INSTALL=1]
#
# stdout: only lines to eval (export SLURM_CONF=...). stderr: everything else.
# Exit codes: 0 all nodes idle; 1 failed; 2 wrong usage; 77 Slurm is not installed (tests: skip).
# Safe to repeat: running daemons are kept, missing ones are started, job records survive.
# The options of the first call are kept in DIR; use down.sh --wipe DIR to change them.
set -euo pipefail

say() { echo "up.sh: $*" >&2; }
die() { say "$2"; exit "$1"; }
usage() { sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }

dir=${SLURM_TEST_DIR:-}
nodes=${SLURM_TEST_NODES:-4} gpus=${SLURM_TEST_GPUS:-8} port=${SLURM_TEST_PORT:-26817}
socket=${SLURM_TEST_MUNGE_SOCKET:-} min_job_age=${SLURM_TEST_MIN_JOB_AGE:-30}
node_timeout=${SLURM_TEST_NODE_TIMEOUT:-30} preempt=${SLURM_TEST_PREEMPT:-}
extra=${SLURM_TEST_CONF:-} install=${SLURM_TEST_INSTALL:-}
while [ $# -gt 0 ]; do
  case $1 in
    --nodes|--gpus|--port|--munge-socket|--min-job-age|--node-timeout|--conf)
      [ $# -ge 2 ] || usage
      case $1 in
        --nodes) nodes=$2 ;; --gpus) gpus=$2 ;; --port) port=$2 ;; --munge-socket) socket=$2 ;;
        --min-job-age) min_job_age=$2 ;; --node-timeout) node_timeout=$2 ;; --conf) extra=$2 ;;
      esac; shift 2 ;;
    --preempt) preempt=1; shift ;;
    --install) install=1; shift ;;
    -*) usage ;;
    *) dir=$1; shift ;;
  esac
done
[ -n "$dir" ] || usage
for number in "$nodes" "$gpus" "$port" "$min_job_age" "$node_timeout"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || die 2 "not a positive number: $number"
done
[ -z "$extra" ] || [ -r "$extra" ] || die 2 "cannot read $extra"
mkdir -p "$dir"; dir=$(cd "$dir" && pwd -P)
[ -e "$dir/cluster-name" ] || [ -z "$(ls -A "$dir")" ] || die 2 "$dir is not empty and not made by up.sh"
[[ $dir =~ ^[A-Za-z0-9/._-]+$ ]] || die 2 "DIR may hold only letters, digits and / . _ -: $dir"
socket=${socket:-$dir/munge.sock}
[ ${#socket} -le 100 ] || die 2 "munge socket path too long (${#socket} > 100): use --munge-socket"
PATH=$PATH:/usr/sbin:/sbin
[ -e "$dir/slurm.conf" ] || echo "test$port" >"$dir/cluster-name"   # also marks DIR as ours, for down.sh

installed() { local p; for p in munged slurmctld slurmd sbatch squeue scancel scontrol sinfo; do command -v "$p" >/dev/null || return 1; done; }
if ! installed; then
  [ -n "$install" ] || die 77 "Slurm is not installed; --install does it on Debian"
  [ -e /etc/debian_version ] && [ "$(id -u)" = 0 ] || die 77 "--install needs Debian and root"
  guard=/usr/sbin/policy-rc.d made_guard=
  # exit 101 keeps the packages from starting their own services
  [ -e $guard ] || { printf '#!/bin/sh\nexit 101\n' >$guard; chmod +x $guard; made_guard=1; }
  rc=0
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      slurmctld slurmd slurm-client munge; } >"$dir/install.log" 2>&1 || rc=$?
  [ -z "$made_guard" ] || rm -f $guard
  installed || die 1 "install failed (rc $rc), see $dir/install.log"
fi

mkdir -p "$dir"/{state,log,spool,munge,dev}
chmod 755 "$dir"; chmod 700 "$dir/munge"
# alive PIDFILE PROGRAM: the pid in the file is still that program (pids are reused) and not a zombie
# (killed daemons stay zombies for a while where process 1 reaps slowly, as in many containers)
alive() { local p; p=$(cat "$1" 2>/dev/null) && [ -n "$p" ] && [[ $(cat "/proc/$p/stat" 2>/dev/null) == "$p ($2) "[^ZX]* ]]; }
free_port() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

if [ ! -e "$dir/slurm.conf" ]; then
  for ((i = 0; i <= nodes; i++)); do free_port $((port + i)) || die 1 "port $((port + i)) is in use: use --port"; done
  host=$(hostname -s) user=$(id -un)
  # A count without device files makes the nodes INVAL ("count reported lower than configured"); plain
  # files leave CUDA_VISIBLE_DEVICES unset. Links to a character device do both jobs, without root.
  for ((g = 0; g < gpus; g++)); do ln -sf /dev/null "$dir/dev/nvidia$g"; done
  echo "Name=gpu File=$dir/dev/nvidia[0-$((gpus - 1))]" >"$dir/gres.conf"
  # slurmd refuses to start where no usable cgroup file system is mounted (containers), unless told so:
  # 22.05 knows no "disabled", but its v1 plugin starts without any cgroup file system
  if [ "$(slurmctld -V | grep -oE '[0-9]+' | head -1)" -ge 24 ]; then cgroup=disabled; else cgroup=cgroup/v1; fi
  echo "CgroupPlugin=$cgroup" >"$dir/cgroup.conf"
  {
    cat <<CONF
ClusterName=test$port
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$socket
CryptoType=crypto/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SlurmdParameters=config_overrides
LaunchParameters=use_interactive_step
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
MinJobAge=$min_job_age
KillWait=3
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=$node_timeout
MessageTimeout=10
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
SwitchType=switch/none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/log/jobcomp.txt
NodeName=DEFAULT CPUs=16 RealMemory=16000 Gres=gpu:$gpus State=UNKNOWN
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))]
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=30:00 State=UP OverSubscribe=NO
CONF
    [ -z "$preempt" ] || cat <<CONF
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=low Nodes=ALL MaxTime=INFINITE DefaultTime=30:00 State=UP PriorityTier=1
PartitionName=lowc Nodes=ALL MaxTime=INFINITE DefaultTime=30:00 State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=2
PartitionName=high Nodes=ALL MaxTime=INFINITE DefaultTime=30:00 State=UP PriorityTier=10
CONF
    [ -z "$extra" ] || cat "$extra"
  } >"$dir/slurm.conf.new"
  echo "$socket" >"$dir/munge/socket-path"
  echo "$nodes" >"$dir/node-count"
  mv "$dir/slurm.conf.new" "$dir/slurm.conf"
else
  socket=$(cat "$dir/munge/socket-path") nodes=$(cat "$dir/node-count")
fi
export SLURM_CONF="$dir/slurm.conf"
unset "${!SBATCH_@}" "${!SQUEUE_@}" "${!SCANCEL_@}" "${!SINFO_@}" 2>/dev/null || true

[ -e "$dir/munge/key" ] || (umask 077; dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 status=none)
if ! alive "$dir/munged.pid" munged; then
  rm -f "$socket"   # --force: accept directories that are not owned by a munge user
  munged --force --key-file="$dir/munge/key" --socket="$socket" --pid-file="$dir/munged.pid" \
         --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed" 2>>"$dir/log/munged.err" \
    || die 1 "munged did not start, see $dir/log/munged.err"
fi
alive "$dir/slurmctld.pid" slurmctld || slurmctld 2>>"$dir/log/start.err" || die 1 "slurmctld did not start, see $dir/log/slurmctld.log"
for ((i = 1; i <= nodes; i++)); do
  mkdir -p "$dir/spool/n$i"
  alive "$dir/slurmd-n$i.pid" slurmd || slurmd -N "n$i" 2>>"$dir/log/start.err" || die 1 "slurmd n$i did not start, see $dir/log/slurmd-n$i.log"
done

ready=0
for ((try = 0; try < 150; try++)); do
  ready=$(timeout 12 sinfo -h -N -p gpu -t idle,alloc,mix -o %N 2>/dev/null | sort -u | wc -l)
  [ "$ready" = "$nodes" ] && break
  sleep 0.2
done
timeout 12 sinfo -N -p gpu -o '%N %T %G %c %m' >&2 || true
[ "$ready" = "$nodes" ] || die 1 "only $ready of $nodes nodes are up, see $dir/log"
echo "export SLURM_CONF=$SLURM_CONF"
