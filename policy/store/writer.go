package store

import "context"

// writerKey is what the writer is kept under in a context.
type writerKey struct{}

// WithWriter says in a context who makes the writes, in words for the log.
func WithWriter(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, writerKey{}, who)
}

// WriterOf returns who makes the writes, "" if that is not said.
func WriterOf(ctx context.Context) string {
	who, _ := ctx.Value(writerKey{}).(string)
	return who
}
