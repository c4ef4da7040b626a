/** Charts as SVG: each becomes a specification of Vega-Lite, which Vega draws. Neither needs a browser. */

import { parse, resetSVGDefIds, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import type { Axis, Chart } from '../runner/chart.ts'

/** Colours that people with any kind of colour blindness tell apart (Okabe and Ito). */
const colours = ['#000000', '#999999', '#0072B2', '#009E73', '#E69F00', '#D55E00']

/** One after the other: the names of parts of a plot are counted for all, and are to be the same each time. */
export async function draw(chart: Chart): Promise<string> {
  resetSVGDefIds()
  const view = new View(parse(compile(specification(chart)).spec), { renderer: 'none' })
  try {
    return `${await view.toSVG()}\n`
  } finally {
    view.finalize()
  }
}

function specification({ title, x, y, lines, marks = [] }: Chart): TopLevelSpec {
  const values = lines.flatMap(({ name, points }) => points.map(([px, py]) => ({ x: px, y: py, variant: name })))
  const names = lines.map(({ name }) => name)
  const horizontal = { field: 'x', type: 'quantitative' } as const
  return {
    width: 640,
    height: 300,
    background: 'white',
    title,
    config: { legend: { labelLimit: 400 } },
    layer: [
      {
        // A logarithm has no place for what is not above zero.
        data: { values: values.filter(value => (!x.log || value.x > 0) && (!y.log || value.y > 0)) },
        mark: { type: 'line', clip: true },
        encoding: {
          x: { ...horizontal, ...axis(x) },
          y: { field: 'y', type: 'quantitative', ...axis(y) },
          // A distribution goes straight up where many took equally long.
          order: { field: lines.some(isDistribution) ? 'y' : 'x', type: 'quantitative' },
          color: {
            field: 'variant',
            type: 'nominal',
            title: null,
            scale: { domain: names, range: colours.slice(0, names.length) },
          },
        },
      },
      ...marks.map(({ at, text }) => ({
        data: { values: [{ x: at, text }] },
        layer: [
          { mark: { type: 'rule' as const, strokeDash: [4, 4] }, encoding: { x: horizontal } },
          {
            mark: { type: 'text' as const, align: 'left' as const, dx: 4, y: 10 },
            encoding: { x: horizontal, text: { field: 'text' } },
          },
        ],
      })),
    ],
  }
}

function axis({ title, log }: Axis) {
  return { title, scale: { type: log ? 'log' : 'linear' } as const, axis: { grid: true } }
}

function isDistribution({ points }: Chart['lines'][number]): boolean {
  return points.at(-1)?.[1] === 100
}
