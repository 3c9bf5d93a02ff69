package middleware

// registered are the middlewares written in Go, by the name that enables them.
var registered = map[string]func() Middleware{
	"stamp": func() Middleware { return newStamp() },
}
