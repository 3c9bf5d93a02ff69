gateway {
  tls {
    acme {
      directory     = "http://ca.example/dir"
      email         = "nobody"
      hosts         = ["*.example.com", "localhost", "Shop.Example.com."]
      host_suffixes = ["a_b"]
      max_hosts     = 0
      storage       = "memory"
      key_file      = "seal"
      challenges    = ["dns-01"]
    }
  }
}
admin {
  tls {
    acme {
      hosts = ["a.example.com"]
    }
  }
}
