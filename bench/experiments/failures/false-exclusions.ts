import { measureFalseExclusions } from '../../measure/failures/false-exclusions.ts'
import { type Experiment, experiment } from '../../runner/experiment.ts'

export const falseExclusions = of('false-exclusions', 0.4, 10)

/** Of a name such as `false-exclusions-60m`: for so many minutes, in either form. */
export function falseExclusionsExperiment(name: string): Experiment | undefined {
  const minutes = Number(/^false-exclusions-(\d+)m$/.exec(name)?.[1])
  return minutes > 0 ? of(name, minutes, minutes) : undefined
}

function of(name: string, short: number, full: number): Experiment {
  return experiment({
    name,
    title: 'What is excluded that is not dead',
    shows: `All that has nodes suspect endpoints which live, at once: how many are excluded from all nodes for it. It should be none. In the end
a node dies, so that it is known that one that is dead would have been.`,
    minutes: { short: short + 0.6, full: full + 0.6 },
    options: { short: { minutes: short }, full: { minutes: full } },
    measure: measureFalseExclusions,
  })
}
