# The way out of a sandbox, where code runs that is not trusted: the network lets
# it reach this proxy and nothing else (HTTPS_PROXY=http://GATEWAY:8080). What
# policy/whitelist does not name is refused, and so is everything private.
data_dir = "/var/lib/lictor"

egress {
  address       = ":8080"
  connect_ports = [443]
}

admin {
  address = "127.0.0.1:8001"
}

# A file for each list; it is read again when it changes. Without any whitelist
# everything public could be reached.
policy {
  store = "file"
  dir   = "/etc/lictor/policy"
}
