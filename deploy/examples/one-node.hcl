# One lictor beside the Consul agent of its node. Of the catalogue it serves what
# carries the tag "public": curl http://NODE:8000/SERVICE/path
data_dir = "/var/lib/lictor"

gateway {
  address = ":8000"
}

# On loopback nobody else reaches it. On any other address it wants a token.
admin {
  address = "127.0.0.1:8001"
}

# CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN are used where nothing is said here.
consul {
}

resolver "consul" {
  tag = "public"
}

policy {
  store = "consul"
}
