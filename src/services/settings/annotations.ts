/** Reads the settings of a Service's ports from its annotations `config.lightpath.cloud/<port>-<setting>`. */

import { describeKey, keyOf } from '../objects/objects.ts'
import { portLabel, type Service, type ServicePort } from '../objects/service.ts'
import { type Problem, ProblemList, problem } from '../problem.ts'
import type { SettingDefinition } from './definition.ts'
import { defaultSettings, settingDefinitions } from './definitions.ts'
import { type EnvoyProtocol, envoyProtocols } from './envoyprotocol.ts'
import { portProtocol } from './protocol.ts'
import type { Settings } from './settings.ts'

const annotationPrefix = 'config.lightpath.cloud/'

export interface ServiceSettings {
  /** The settings of the ports that have any of their own, by label (name, or number where it has none). */
  readonly byPort: ReadonlyMap<string, Settings>
  /** Keys of `Settings` that an annotation has set, by port label; for `explain`. */
  readonly annotated: ReadonlyMap<string, ReadonlyMap<keyof Settings, string>>
  readonly problems: readonly Problem[]
}

/**
 * Reads every annotation of ours. One that cannot be used is reported and the default applies, or the nearest value
 * where it is beyond its range; it never affects the other settings. Where two ports could be meant (`a` and
 * `a-upstream` in `a-upstream-idle-timeout`), the longer port name is.
 */
export function readSettings(service: Service): ServiceSettings {
  if (!Object.keys(service.annotations).some(annotation => annotation.startsWith(annotationPrefix))) return noSettings
  const ports = new Map(service.ports.map(port => [portLabel(port), port]))
  const annotated = new Map<string, Map<keyof Settings, string>>()
  const values = new Map<string, Record<string, unknown>>()
  const object = describeKey(keyOf(service))
  const problems = new ProblemList(object)

  for (const [annotation, text] of Object.entries(service.annotations)) {
    if (!annotation.startsWith(annotationPrefix)) continue
    const target = resolveKey(annotation.slice(annotationPrefix.length), ports)
    if ('explain' in target) {
      problems.addMade(() => {
        const { code, unknown, remedy } = target.explain()
        return problem(code, object, `annotation ${annotation}: ${unknown}`, remedy)
      })
      continue
    }
    const { label, port, definition } = target
    const parsed = definition.parse(text.trim())
    if (!parsed.ok) {
      const reason = `annotation ${annotation}: ${quote(text)} is not ${definition.accepts}`
      problems.add('LP202', reason, `the default applies (${definition.defaultText})`)
      continue
    }
    if (parsed.nearest !== undefined) {
      const reason = `annotation ${annotation}: ${quote(text)} is beyond the range of ${definition.accepts}`
      problems.add('LP202', reason, `${parsed.nearest} applies, which is the nearest of these`)
    }
    const useless = whyUseless(definition, port, setProtocol(service, label))
    if (useless) {
      problems.add('LP204', `annotation ${annotation}: ${useless}`, 'remove the annotation')
      continue
    }
    getOrAdd(values, label, (): Record<string, unknown> => ({}))[definition.key] = parsed.value
    getOrAdd(annotated, label, () => new Map()).set(definition.key, annotation)
  }

  const byPort = new Map<string, Settings>()
  for (const [label, own] of values) byPort.set(label, { ...defaultSettings, ...(own as Partial<Settings>) })
  return { byPort, annotated, problems: problems.all() }
}

/** Shared by all Services without annotations of ours: most of a large cluster. */
const noSettings: ServiceSettings = { byPort: new Map(), annotated: new Map(), problems: [] }

export function settingsOf({ byPort }: ServiceSettings, port: ServicePort): Settings {
  return byPort.get(portLabel(port)) ?? defaultSettings
}

type Target =
  | { readonly label: string; readonly port: ServicePort; readonly definition: SettingDefinition }
  /** Called for a few annotations only: finding what was meant takes time. */
  | { readonly explain: () => Unknown }

interface Unknown {
  readonly unknown: string
  readonly remedy: string
  readonly code: 'LP201' | 'LP203'
}

function resolveKey(key: string, ports: ReadonlyMap<string, ServicePort>): Target {
  const readings = settingDefinitions
    .filter(definition => key.endsWith(`-${definition.name}`))
    .map(definition => ({ definition, label: key.slice(0, -definition.name.length - 1) }))
    .sort((a, b) => b.label.length - a.label.length)
  for (const { definition, label } of readings) {
    const port = ports.get(label)
    if (port) return { label, port, definition }
  }
  return { explain: () => whyUnknown(key, readings.at(-1)?.label, [...ports.keys()]) }
}

/** @param unknownPort the shortest label of a port that the key may name */
function whyUnknown(key: string, unknownPort: string | undefined, names: readonly string[]): Unknown {
  if (unknownPort !== undefined) {
    const unknown = `the Service has no port ${quote(unknownPort)}`
    return { code: 'LP203', unknown, remedy: `it is ignored; the ports are ${listed(names)}` }
  }
  const label = names.filter(name => key.startsWith(`${name}-`)).sort((a, b) => b.length - a.length)[0]
  const setting = label === undefined ? key : key.slice(label.length + 1)
  return {
    code: 'LP201',
    unknown: `there is no setting ${quote(setting)}`,
    remedy: `it is ignored; ${suggested(setting)}docs/settings.md lists all`,
  }
}

const mostListed = 10

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'none'
  const more = names.length - mostListed
  return names.slice(0, mostListed).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

/** Reads the setting protocol, which decides what other settings the port has a use for, before them. */
function setProtocol({ annotations }: Service, label: string): EnvoyProtocol | undefined {
  const text = annotations[`${annotationPrefix}${label}-protocol`]?.trim()
  return envoyProtocols.find(protocol => protocol === text)
}

function whyUseless(
  definition: SettingDefinition,
  port: ServicePort,
  set: EnvoyProtocol | undefined,
): string | undefined {
  const speaks = portProtocol(port, set)
  if (speaks === undefined) return `Envoy does not balance ${port.protocol} ports`
  return definition.protocols.includes(speaks.protocol)
    ? undefined
    : `${definition.name} is for ${definition.protocols.join(' and ')} ports, and this one is ${speaks.protocol}`
}

/** Suggests the setting that was probably meant; none where none is near: half of it or more would be another. */
function suggested(text: string): string {
  const distances = settingDefinitions.map(({ name }) => ({ name, distance: editDistance(text.slice(0, 64), name) }))
  const nearest = distances.reduce((best, next) => (next.distance < best.distance ? next : best))
  return nearest.distance * 2 < nearest.name.length ? `did you mean ${nearest.name}? ` : ''
}

/** Levenshtein distance, a row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substitution, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

/** Quotes the value as a user wrote it, cut where it is long: a problem is one line. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const present = map.get(key)
  if (present !== undefined) return present
  const made = make()
  map.set(key, made)
  return made
}
