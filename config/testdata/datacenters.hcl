consul {
  token_file = "/run/consul/token"
}
resolver "consul" {
}
resolver "consul" {
  datacenter = "dc2"
  max_stale  = "1h"
}
resolver "static" {
  services = {}
}
resolver "consul" {
  peer = "partner-1"
}
