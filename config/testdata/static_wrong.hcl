resolver "static" {
  services = { a = ["http://h"] }
  meta = {
    a = {
      lictor-host     = "other"
      lictor-timeout  = "soon"
      lictor-scheme   = "https"
      lictor-hosts    = "a.example.org"
      lictor-protocol = "h3"
      lictor-strip    = true
    }
    b = { lictor-timeout = "1s" }
    c = "x"
  }
}
