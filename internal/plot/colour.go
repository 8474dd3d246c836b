package plot

import "image/color"

// colours are those of Okabe & Ito (2008, "Color Universal Design"), which people with any colour vision can tell apart.
var colours = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255}, {0, 0, 0, 255},
}

func colour(k int) color.Color { return colours[k%len(colours)] }
