package feed

import (
	"context"
	"errors"
	"fmt"
	"os"

	"lictor/internal/files"
	"lictor/policy"
)

// Offline returns the feeds of sources as this machine has them: of a file what it says,
// of a URL the last good copy in dir, which a lictor keeps there. Nobody is asked. An
// error says of each that cannot be read why.
func Offline(sources []Source, dir string) ([]*policy.Feed, error) {
	var feeds []*policy.Feed
	var wrong []error
	for i := range sources {
		s := &sources[i]
		feed, err := s.offline(dir)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("feed %q: %w", s.Name, err))
			continue
		}
		feeds = append(feeds, feed)
	}
	return feeds, errors.Join(wrong...)
}

func (s *Source) offline(dir string) (*policy.Feed, error) {
	path := s.Path
	if path == "" {
		if dir == "" {
			return nil, errors.New("it is fetched, and without data_dir no copy of it is kept")
		}
		path = s.keptFile(dir)
	}
	f, err := files.Open(path)
	if errors.Is(err, os.ErrNotExist) && s.Path == "" {
		return nil, errors.New("it is fetched, and data_dir has no copy of it yet")
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	r, err := parse(&bounded{ctx: context.Background(), from: f, left: s.Size}, s.Format, s.FeedOptions)
	return r.feed, err
}
