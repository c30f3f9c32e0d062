#!/usr/bin/env bash
# Installs SLURM and munge where they are missing and this may be done; the tests start them in folders of their own.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
missing=()
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "${missing[*]} not installed, and only root on Debian or Ubuntu can: apt-get install slurm-wlm munge" >&2
  exit 0 # the tests say it again, and skip or fail
fi
export DEBIAN_FRONTEND=noninteractive
# The packages' own daemons, which have no configuration, are not started.
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
apt-get -qq update
apt-get -qq install --no-install-recommends slurm-wlm munge >/dev/null
