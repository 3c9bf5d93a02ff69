case "staff may export" {
  request  = "GET /shop/export"
  consumer = "ann"
  from     = "10.1.2.3"
  want     = "pass"
}
case "bob may not" {
  request = "GET https://h.example/shop/export"
  consumer = "bob"
  want = "acl"
}
case "nobody" {
  request = "GET /shop/export"
  want = "no_credentials"
}
case "admin" {
  request = "GET /shop/..%2fadmin"
  want = "pass"
}
case "who" {
  request = "GET /shop"
  consumer = "eve"
  want = "acl"
}
case "everything that can be said" {
  request     = "POST https://shop.example.org:8443/shop/a;b?c=d#e"
  host        = "other.example.org"
  headers     = { apikey = "k", "X-Beta" = "1" }
  certificate = ["a", "b"]
  from        = "2001:db8::1"
  country     = "DE"
  length      = 1000
  at          = "2026-12-01T08:00:00Z"
  want        = "blacklist"
}
