package finetune

// Setting is what the defaults depend on.
type Setting struct {
	Samples int  // of the training data
	Labels  bool // there are labels
	Teacher bool // there is a teacher
	Streams bool // the model is a step of a stream
	Numbers bool // the loss is of numbers, where small errors count, and not of classes
	Steps   int  // of the longest stream; 0: those of one window
}

// Recipe is what [Defaults] gives: options without data and tensors, and what objectives are made of.
type Recipe struct {
	Options Options
	// Alpha is the share of the teacher in a mix with labels (1 without labels, 0 without a teacher), Temperature that of [Distill].
	Alpha, Temperature float64
	// ValFraction is held back from the training data where no validation data are given.
	ValFraction float64
}

// sampleSteps and streamSteps are about how many optimizer steps a training has: on samples, and on windows of streams, each of which runs the model many times.
const (
	sampleSteps = 2400
	streamSteps = 480
)

// Defaults are the settings that are used where the user gives none. All of them stand here.
func Defaults(s Setting) Recipe {
	r := Recipe{
		Options: Options{
			Batch:     32,
			Seed:      1,
			Optimizer: Optimizer{Method: AdamW, Rate: 1e-2, Decay: 0.1, Clip: 1},
			Schedule:  Schedule{Shape: Cosine},
		},
		Alpha: 0.3, Temperature: 2,
	}
	steps, windows := sampleSteps, 1
	if s.Streams || s.Numbers {
		r.Options.Optimizer.Rate = 1e-3
		r.Options.Optimizer.Decay = 0.01
	}
	if s.Streams {
		r.Options.Batch = 4
		r.Options.Streams.Window = DefaultWindow
		steps = streamSteps
		windows = max(1, (s.Steps+DefaultWindow-1)/DefaultWindow)
	}
	if !s.Labels {
		r.Alpha = 1
	}
	if !s.Teacher {
		r.Alpha = 0
	}
	if s.Samples > 0 {
		r.Options.Batch = min(r.Options.Batch, s.Samples)
	}
	perEpoch := windows * max(1, (s.Samples+r.Options.Batch-1)/r.Options.Batch)
	r.Options.Epochs = (steps + perEpoch - 1) / perEpoch
	r.Options.Schedule.WarmUp = 0.1 * float64(r.Options.Epochs)
	return r
}
