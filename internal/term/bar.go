package term

import (
	"io"

	"github.com/schollz/progressbar/v3"
)

// Bar is a progress bar. The zero Bar and a nil one draw nothing.
type Bar struct {
	bar *progressbar.ProgressBar
}

// NewBar draws on w if that is a terminal.
func NewBar(w io.Writer) *Bar {
	if !Is(w) {
		return nil
	}
	return &Bar{progressbar.NewOptions(1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionShowElapsedTimeOnFinish(),
		progressbar.OptionUseANSICodes(true),
	)}
}

// Show moves the bar to done of total and describes what is being done; control characters in text are escaped.
func (b *Bar) Show(done, total int, text string) {
	if b == nil || b.bar == nil {
		return
	}
	b.bar.ChangeMax(max(total, done) + 1) // a bar at its maximum would finish and clear itself
	b.bar.Describe(Escape(text))
	_ = b.bar.Set(done)
}

// Clear takes the bar off the screen.
func (b *Bar) Clear() {
	if b == nil || b.bar == nil {
		return
	}
	_ = b.bar.Clear()
}
