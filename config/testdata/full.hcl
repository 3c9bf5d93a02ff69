log_level  = "debug"
log_format = "json"
data_dir   = ""

gateway {
  address           = "127.0.0.1:0"
  timeout           = "1.5s"
  idle_timeout      = "2m"
  header_timeout    = "5s"
  stream_idle       = "1h"
  max_header_bytes  = "64KiB"
  max_fields = 300
  max_body          = "8MiB"
  drain             = "0s"
  shutdown_delay = "10s"
  trusted_proxies   = ["10.1.2.3/8", "::ffff:192.168.0.0/112", "2001:db8::1"]
  trusted_networks  = []
  protected_headers = ["X-Internal-*", "X-Debug"]
}

admin {
  address = ":8001"
  token   = env("TOKEN", "unused")
  header  = "X-Key"
}

consul {
  address    = "http://consul.example.org:8500"
  token      = file("testdata/secret.txt")
  scheme     = "https"
  datacenter = "dc1"
  tls {
    ca_file   = "ca.pem"
    cert_file = "cert.pem"
    key_file  = "key.pem"
  }
}

resolver "static" {
  services = {
    foo   = ["http://127.0.0.1:9001/base", "https://[::1]:9002"]
    "b-r" = []
  }
}

resolver "consul" {
  tag          = "${env("NOT_SET")}blue"
  passing_only = false
  expose       = ["shop-*"]
  hide         = []
  max_stale    = "10m"
  empty_hold   = "0s"
  connect      = "require"
  host_suffixes = ["Example.com", "internal"]
}

dispatch "http" {
  balance               = "hash"
  hash_on               = "header:X-User"
  retries               = 0
  connect_timeout       = "500ms"
  max_idle_per_instance = 8
  max_connections_per_instance = 100
  max_requests_per_instance = 20
  slow_start                = "30s"
  eject                     = "503:5/10s"
  hold                      = "5s"
}

decision_log {
  path    = "/var/log/lictor/decisions"
  size    = "1MiB"
  sample  = 0.25
  refused = 0
  mask {
    client        = "/24,/56"
    path_segments = 2
  }
}

access_log {
  path   = "-"
  format = "combined"
}
