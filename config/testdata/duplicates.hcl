gateway {
  drain = "1s"
  drain = "2s"
}
gateway {
}
resolver "static" {
  services = {}
}
resolver "static" {
  services = {}
}
