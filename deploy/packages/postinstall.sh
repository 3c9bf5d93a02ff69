#!/bin/sh
# Lets systemd see the units. lictor is not started: it would open a port before
# anybody has said what may be reached by it. One that runs is restarted, so that
# what runs is what is installed.
set -e
[ -d /run/systemd/system ] && [ -z "${DPKG_ROOT:-}" ] || exit 0
systemctl daemon-reload
if systemctl is-active --quiet lictor.service; then
	systemctl restart lictor.service
fi
