resolver "eureka" {
  urls       = ["ftp://x/eureka", "http://x/eureka?a=b"]
  refresh    = "1ms"
  empty_hold = "-1s"
}
dispatch "rabbitmq" {
  url      = "http://broker"
  services = ["or[ders"]
  max_body = "1GiB"
}
middleware "idle" {
}
middleware "canary" {
  match {
    methods = ["G T"]
    hosts   = ["*"]
    paths   = ["shop", "/a?b"]
    headers = { "User-Agent" = "~(", "X-N" = 1, "X A" = "b" }
    percent = 0
  }
  request {
    set    = { "Host" = "x", "X A" = "1", "X-A" = "a\nb" }
    add    = { "Content_Length" = "1" }
    remove = ["X-Forwarded-For", "X-Consumer-ID", "X-WASP-STATUS"]
  }
  block {
    status = 100
  }
  route {
  }
  mode = "off"
}
middleware "canary" {
  record = true
  route {
    service = "a/b"
  }
}
