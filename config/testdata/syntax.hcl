gateway {
  address = ":8000" timeout = "15s"
}
admin {
  header = "X Y"
}
consul {
