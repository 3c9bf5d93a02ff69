gateway {
  proxy_protocol = true
  tls {
    cert_file   = "site.pem"
    min_version = "1.1"
    certificate {
      key_file = "other.key"
    }
    certificate {
      cert_file = "third.pem"
      key_file  = "third.key"
    }
  }
}
admin {
  tls {
    client_ca_file = "ca.pem"
  }
}
dispatch "http" {
  upstream_tls {
    key_file = "lictor.key"
  }
}
