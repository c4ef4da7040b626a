/** All inputs, by theme. */

import type { Input } from './input.ts'
import { answers } from './inputs/answers.ts'
import { bodies } from './inputs/bodies.ts'
import { endings } from './inputs/endings.ts'
import { halfClose } from './inputs/halfclose.ts'
import { headers } from './inputs/headers.ts'
import { methods } from './inputs/methods.ts'
import { oddities } from './inputs/oddities.ts'
import { repetitions } from './inputs/repetitions.ts'
import { statuses } from './inputs/statuses.ts'
import { streams } from './inputs/streams.ts'
import { targets } from './inputs/targets.ts'
import { upgrades } from './inputs/upgrades.ts'

export const inputs: readonly Input[] = [
  ...methods,
  ...targets,
  ...headers,
  ...bodies,
  ...statuses,
  ...answers,
  ...streams,
  ...upgrades,
  ...endings,
  ...halfClose,
  ...repetitions,
  ...oddities,
]
