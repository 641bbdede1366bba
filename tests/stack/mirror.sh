#!/bin/sh
# Prints the address of the Debian mirror that this machine's apt uses; fails when it uses none.
set -eu
uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep '/debian/*$' | head -n 1)
[ -n "$uri" ] || { echo "stack: apt's configuration names no Debian mirror" >&2; exit 1; }
echo "$uri"
