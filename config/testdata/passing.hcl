resolver "eureka" {
  urls            = ["http://me:hush@10.0.0.5:8761/eureka", "https://other/v2/"]
  refresh         = "1s"
  prefer_hostname = true
  delta           = true
  empty_hold      = "0s"
}
dispatch "rabbitmq" {
  url      = "amqps://me:${env("TOKEN")}@broker/vhost"
  services = ["orders", "ev.*"]
  timeout  = "3s"
  max_body = "1MiB"
}
middleware "canary" {
  match {
    methods = ["get"]
    hosts   = ["Example.ORG.", "*.example.org"]
    paths   = ["/shop/../a%62"]
    headers = { "User-Agent" = "~(?i)mobile", "X-Any" = "" }
    percent = 12.5

    consumers = ["anna", "b-1"]
  }
  request {
    set    = { "X-Canary" = "yes" }
    remove = ["X-Old"]
  }
  response {
    add = { "X-By" = "canary" }
  }
  route {
    service = "shop-canary"
  }
  mode = "report"
}
middleware "early" {
  route {
    canary = true
  }
}
middleware "shut" {
  block {
  }
  record = true
}
middleware "stamp" {
}
