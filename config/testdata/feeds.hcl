feed "ads" {
  url       = "https://lists.example.org/hosts.txt?key=s3cret"
  format    = "hosts"
  refresh   = "6h"
  size      = "1MiB"
  direction = "egress"
  mode      = "report"
  reason    = "ads"
}

feed "drop" {
  path   = "/var/lib/lists/drop.txt"
  format = "cidr"
}

feed "here" {
  url    = "http://[::1]:8000/list"
  format = "list"
}
