#!/usr/bin/env bash
# Runs `make test` on this machine as if it were another, once under each condition, and prints each closing line.
#
#   .ci/machines.sh                      all of: one-core nohup locale zone umask cold-cache bf16 no-bf16 user
#   .ci/machines.sh zone locale+umask    these; conditions joined by + hold together, in one run
#   .ci/machines.sh lowest python=/usr/bin/python3.12    `make test-lowest`, `make test-python PYTHON=…`
#
# What is committed is tested, in a clone of its own with an environment of its own. KEEP=DIR is where both and the
# logs (DIR/CONDITION.log) go; by default a new folder in /tmp. The conditions of the processor and of the user need
# Linux and root. It takes no input; the exit status is the number of conditions that failed.
set -uo pipefail
cd "$(dirname "$0")/.."
source=$PWD
work=${KEEP:-$(mktemp -d /tmp/machines.XXXXXX)}
checkout=$work/checkout
python=$(readlink -f "$(command -v "${PYTHON:-python3}")")
umask 022
mkdir -p "$work/cpu" "$work/home"
chmod 755 "$work"
[ -d "$checkout" ] || git clone --quiet "$source" "$checkout"
[ -e "$work/shared" ] || [ ! -e ../shared ] || ln -s "$(readlink -f ../shared)" "$work/shared"

flags() { # FLAGS: /proc/cpuinfo of this machine with the flags of another processor; prints its path
  sed -E "s/^(flags[[:space:]]*:).*/\1 $1/" /proc/cpuinfo >"$work/cpu/${#1}"
  echo "$work/cpu/${#1}"
}

machine() { # CPUINFO USER COMMAND...: the command sees CPUINFO as /proc/cpuinfo and runs as USER; "" leaves either
  local base status
  base=$("$python" -c 'import sys; print(sys.base_prefix)')
  [ -z "$2" ] || chown -R "$2" "$checkout" "$work/home"
  unshare --mount bash -c '
    base=$1 home=$2 cpuinfo=$3 user=$4; shift 4
    [ -z "$cpuinfo" ] || mount --bind "$cpuinfo" /proc/cpuinfo || exit 2
    [ -n "$user" ] || exec "$@"
    if ! runuser -u "$user" -- test -x "$base/bin/python3"; then # it lies in a folder of root
      top=/$(echo "$base" | cut -d/ -f2) held=$home/python
      mkdir -p "$held" && mount --bind "$base" "$held" && mount -t tmpfs -o mode=755 tmpfs "$top" || exit 2
      mkdir -p "$base" && mount --bind "$held" "$base" || exit 2
    fi
    exec runuser -u "$user" -- env HOME="$home" USER="$user" LOGNAME="$user" "$@"
  ' _ "$base" "$work/home" "$@"
  status=$?
  [ -z "$2" ] || chown -R "$(id -u):$(id -g)" "$checkout"
  return $status
}

old="fpu sse sse2 ssse3 sse4_1 sse4_2 avx avx2 fma f16c"
new="$old avx512f avx512bw avx512vl avx512_bf16 amx_bf16 amx_tile"
under() { # CONDITIONS: the tests under every one of the conditions, joined by +
  local command=(make test) cpuinfo="" user="" condition
  for condition in ${1//+/ }; do
    case $condition in
      lowest) command=(make test-lowest) ;;
      python=*) command=(make test-python "PYTHON=${condition#python=}") ;;
    esac
  done
  for condition in ${1//+/ }; do
    case $condition in
      one-core) command=(taskset -c 0 "${command[@]}") ;;
      nohup) command=(bash -c 'nohup "$@" & wait $!' _ "${command[@]}") ;;
      locale) command=(env LC_ALL=C "${command[@]}") ;;
      zone) command=(env TZ=Asia/Kathmandu "${command[@]}") ;;
      umask) command=(bash -c 'umask 077 && exec "$@"' _ "${command[@]}") ;;
      cold-cache) command=(env XDG_CACHE_HOME="$work/cache" "${command[@]}") && rm -rf "$work/cache" ;;
      bf16) cpuinfo=$(flags "$new") ;;
      no-bf16) cpuinfo=$(flags "$old") ;;
      user) user=nobody ;;
      lowest | python=*) ;;
      *) echo "unknown condition $condition" >&2 && return 2 ;;
    esac
  done
  if [ -n "$cpuinfo$user" ]; then machine "$cpuinfo" "$user" "${command[@]}"; else "${command[@]}"; fi
}

[ $# -gt 0 ] || set -- one-core nohup locale zone umask cold-cache bf16 no-bf16 user
failed=0
for condition in "$@"; do
  log=$work/$(echo "$condition" | tr / _).log
  (cd "$checkout" && under "$condition") >"$log" 2>&1 </dev/null
  status=$?
  [ $status -eq 0 ] || failed=$((failed + 1))
  printf '%-24s exit %d  %s\n' "$condition" $status "$(grep -v '^[[:space:]]*$' "$log" | tail -1)"
done
echo "logs: $work"
exit $failed
