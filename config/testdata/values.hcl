log_level  = "loud"
log_format = json
data_dir   = ["a"]

gateway {
  address           = "8000"
  timeout           = "15"
  idle_timeout      = 60
  header_timeout    = "0s"
  stream_idle       = "-1s"
  max_header_bytes  = "32kb"
  max_body          = "0"
  drain             = null
  trusted_proxies   = ["10.0.0.0/33", 7, "fe80::1%eth0"]
  trusted_networks  = "10.0.0.0/8"
  protected_headers = ["*", "X-*-Y", "X Y"]
}

admin {
  address = "10.0.0.1:8001"
  header  = ""
}

consul {
  address = "ftp://consul"
  scheme  = "gopher"
  token   = "do not repeat me"
  tls {
    cert_file = "cert.pem"
  }
  tls {
  }
}

resolver "static" {
  services = {
    ".."  = ["http://127.0.0.1"]
    "a/b" = ["http://127.0.0.1"]
    foo   = "http://127.0.0.1"
    bar   = ["127.0.0.1:80", "http://a?b", true]
  }
}

resolver "consul" {
  passing_only = "yes"
  expose       = ["[a"]
  max_stale    = "soon"
  host_suffixes = ["a_b", 7]
}

dispatch "http" {
  balance               = "hash"
  retries               = 1.5
  max_idle_per_instance = -1
  max_requests_per_instance = -1
  slow_start = "-1s"
  eject      = "5xx"
  hold       = "2m"
}

decision_log {
  path    = "-"
  size    = "1KiB"
  sample  = 2
  refused = "all"
  mask {
    client        = "/33,/56"
    path_segments = -1
  }
}

access_log {
  format = env("A", "B", "C")
  path   = file("testdata/no-such-file")
}
