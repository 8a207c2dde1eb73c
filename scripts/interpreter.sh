#!/bin/sh
# The interpreter to make the environment with: python3, or the system's where python3 is too old, cannot make one, or was built without
# optimisations (as pyenv builds it unless told, and half as quick again; docs/decisions/0016). The names to try may be given.
fits='
import ensurepip, sys, sysconfig
quick = sys.base_prefix == "/usr" or "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
sys.exit(sys.version_info < (3, 11) or not quick)'
[ $# -gt 0 ] || set -- python3 /usr/bin/python3
for python in "$@"; do
	if "$python" -c "$fits" 2>/dev/null; then
		echo "$python"
		exit
	fi
done
echo "$1"
