middleware "a" {
  request {
    path = "v2"
  }
}
middleware "b" {
  response {
    path = "/v2"
  }
}
middleware "c" {
  request {
    path = "/v2?x={rest}"
  }
}
