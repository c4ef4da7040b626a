package main

import (
	"math"
	"slices"
	"strconv"
)

// The curve has the value of each per cent, and above 99 finer ones.
func distribution(times []float64) (mean, longest float64, percentiles map[string]float64, curve [][2]float64) {
	percentiles = map[string]float64{}
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	sum := 0.0
	for _, one := range times {
		sum += one
	}
	at := func(percent float64) float64 {
		return times[max(0, int(math.Ceil(percent/100*float64(len(times))))-1)]
	}
	for _, percent := range []float64{50, 75, 90, 99, 99.9} {
		percentiles[percentileName(percent)] = at(percent)
	}
	for percent := 1.0; percent < 99.95; percent += step(percent) {
		curve = append(curve, [2]float64{at(percent), math.Round(percent*10) / 10})
	}
	longest = times[len(times)-1]
	return sum / float64(len(times)), longest, percentiles, append(curve, [2]float64{longest, 100})
}

func step(percent float64) float64 {
	if percent < 98.95 {
		return 1
	}
	return 0.1
}

func percentileName(percent float64) string {
	return "p" + strconv.FormatFloat(percent, 'f', -1, 64)
}
