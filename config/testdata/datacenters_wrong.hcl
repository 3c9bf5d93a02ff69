consul {
  token      = "x"
  token_file = "y"
}
resolver "consul" {
  datacenter = "dc2"
}
resolver "consul" {
  datacenter = "dc2"
  tag        = "other"
}
resolver "consul" {
  datacenter = "../dc3"
}
resolver "consul" {
  datacenter = "dc4"
  peer       = "partner"
}
resolver "consul" {
  peer    = "mesh"
  connect = "require"
}
