# Each of two lictors behind a balancer (haproxy.cfg). They share nothing but
# Consul, and decide alike: lictor status shows the same hash of the policy.
data_dir = "/var/lib/lictor"

gateway {
  address         = ":8000"
  trusted_proxies = ["10.0.0.0/24"] # where the balancer is: what it says of clients is believed
  proxy_protocol  = true            # and it says so by a PROXY header
  shutdown_delay  = "5s"            # the balancer sees /readyz fail before the port closes
}

# The balancer asks /readyz here.
admin {
  address = ":8001"
  token   = env("LICTOR_ADMIN_TOKEN")
}

consul {
}

resolver "consul" {
  tag = "public"
}

policy {
  store = "consul"
}
