#!/bin/sh
# A purge takes what lictor wrote as well: the last good policy and services.
set -e
if [ "${1:-}" = purge ]; then
	rm -rf "${DPKG_ROOT:-}/var/lib/lictor" "${DPKG_ROOT:-}/var/lib/private/lictor" "${DPKG_ROOT:-}/etc/lictor/lictor.env"
	rmdir --ignore-fail-on-non-empty "${DPKG_ROOT:-}/etc/lictor" 2>/dev/null || :
fi
[ -d /run/systemd/system ] && [ -z "${DPKG_ROOT:-}" ] || exit 0
systemctl daemon-reload
