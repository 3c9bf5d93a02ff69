feed "neither" {
  format = "list"
}

feed "both" {
  path   = "/list"
  url    = "https://lists.example.org/"
  format = "list"
}

feed "both" {
  path   = "/another"
  format = "list"
}

feed "no format" {
  path = "/list"
}

feed "values" {
  path      = ""
  format    = "html"
  refresh   = "0s"
  size      = "5GiB"
  direction = "sideways"
  mode      = "off"
  colour    = "red"
}

feed "often" {
  path    = "/list"
  format  = "list"
  refresh = "-1h"
  size    = "0"
}

feed "user" {
  url    = "https://me:s3cret@lists.example.org/list"
  format = "list"
}

feed "key" {
  url    = "ftp://lists.example.org/list?key=s3cret"
  format = "list"
}

feed "plain" {
  url    = "http://lists.example.org/list?key=s3cret"
  format = "list"
}

feed "fragment" {
  url    = "https://lists.example.org/list#s3cret"
  format = "list"
}

feed "no host" {
  url    = "https:///list"
  format = "list"
}

feed "not a list" {
  path   = ["/list"]
  format = 7
}
