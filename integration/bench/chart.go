package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The chart, in pixels.
const (
	chartWidth = 860
	labelWidth = 430
	barHeight  = 12
	chartFull  = 2.0 // the ratio at the right edge; what is beyond is cut there and told in its text
)

// chartStyle suits light and dark pages.
const chartStyle = `text{font:12px system-ui,sans-serif;fill:#24292f}.nginx{fill:#2da44e}.HAProxy{fill:#0969da}.squid{fill:#9a6700}` +
	`.one{stroke:#cf222e;stroke-dasharray:3 3}.span{stroke:#57606a}` +
	`@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.span{stroke:#8b949e}}`

// drawChart draws the ratios to the neighbours as bars, with a line at 1: a bar
// that ends before it is a cost below the neighbour's.
func drawChart(w io.Writer, rec *record, titles map[string]string) error {
	var b strings.Builder
	x := func(ratio float64) float64 {
		return labelWidth + min(ratio, chartFull)*(chartWidth-labelWidth-60)/chartFull
	}
	y, last := 34, ""
	all := rec.ratios()
	for _, name := range rec.names() {
		row, whose, _ := strings.Cut(name, "/of=")
		if !slices.Contains([]string{"nginx", "HAProxy", "squid"}, whose) {
			continue
		}
		if row != last {
			y += 10
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, y+barHeight-2, escape(titles[row]))
			last = row
		}
		v := all[name]
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`, whose, labelWidth, y, x(median(v))-labelWidth, barHeight-2)
		fmt.Fprintf(&b, `<path class="span" d="M%.1f %dH%.1f"/>`, x(slices.Min(v)), y+barHeight/2-1, x(slices.Max(v)))
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%.2f</text>`+"\n", x(slices.Max(v))+5, y+barHeight-2, median(v))
		y += barHeight
	}
	height := y + 14
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="What lictor costs beside its neighbours">
<style>%s</style>
<text x="%d" y="16">what lictor costs, as a share of <tspan class="nginx">nginx</tspan>, <tspan class="HAProxy">HAProxy</tspan>, <tspan class="squid">squid</tspan>: left of the line it is cheaper</text>
%s<path class="one" d="M%.1f 26V%d"/>
</svg>
`, chartWidth, height, chartStyle, 8, b.String(), x(1), height-8)
	return err
}

// names returns the names of the ratios, each once, in their order.
func (rec *record) names() []string {
	var all []string
	for _, f := range rec.figures {
		if f.unit == ratioUnit && !slices.Contains(all, f.name) {
			all = append(all, f.name)
		}
	}
	return all
}

// escape makes text what XML may hold; a title says in front of its colon what
// is measured.
func escape(title string) string {
	title, _, _ = strings.Cut(title, ":")
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(title)) // of a buffer, which takes all
	return b.String()
}
