#!/bin/sh
# Stops lictor before its program goes; not at an upgrade, which is the restart
# of postinstall. deb says "remove" and "upgrade", rpm how many versions remain.
set -e
case "${1:-}" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -d /run/systemd/system ] && [ -z "${DPKG_ROOT:-}" ] || exit 0
systemctl disable --now lictor.service lictor.socket
