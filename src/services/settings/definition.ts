/** The parts of a setting. */

import type { EnvoyProtocol } from './envoyprotocol.ts'
import type { Settings } from './settings.ts'
import type { Type, Value } from './values.ts'

/** Defines one setting: its key in `Settings`, its words for users, and how its text becomes a value. */
export interface SettingDefinition {
  /** As in the annotation, such as `idle-timeout`. */
  readonly name: string
  readonly key: keyof Settings
  readonly default: Value
  /** The default as a user would write it. */
  readonly defaultText: string
  /** The same for one protocol, where it differs between them. */
  readonly defaultOf?: Readonly<Partial<Record<EnvoyProtocol, string>>>
  /** The values that it takes, for error messages and documentation. */
  readonly accepts: string
  readonly description: string
  readonly protocols: readonly EnvoyProtocol[]
  readonly parse: Type['parse']
}

export function define(
  name: string,
  type: Type,
  defaultValue: Value,
  protocols: SettingDefinition['protocols'],
  description: string,
  given?: string | Readonly<Partial<Record<EnvoyProtocol, string>>>,
): SettingDefinition {
  const key = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()) as keyof Settings
  return {
    name,
    key,
    default: defaultValue,
    defaultText: defaultTextOf(type, defaultValue, given),
    defaultOf: typeof given === 'object' ? given : undefined,
    accepts: type.accepts,
    description,
    protocols,
    parse: type.parse,
  }
}

function defaultTextOf(type: Type, value: Value, given: Parameters<typeof define>[5]): string {
  if (given === undefined) return type.format(value)
  if (typeof given === 'string') return given
  return Object.entries(given)
    .map(([protocol, words]) => `${protocol}: ${words}`)
    .join(', ')
}
