/**
 * Reads the configuration of a command. A flag counts before the file given with --config, the file before the default.
 */

import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { parse as parseYaml } from 'yaml'
import { backendOf, backends } from '../kernel/backends.ts'
import type { Definition } from './options/definition.ts'
import { hex } from './options/values.ts'
import { type Config, definitions, describeDefault, flagOf, type OptionName } from './options.ts'
import { UsageError } from './usage.ts'

/** Adds these options, and --config, to the command. */
export function addOptions(command: Command, names: readonly OptionName[]): Command {
  for (const name of names) {
    const definition: Definition<unknown> = definitions[name]
    // Defaults are applied after the file was read, so commander gets only their words.
    const shown = describeDefault(name)
    const description = shown === undefined ? definition.description : `${definition.description} (default: ${shown})`
    command.addOption(new Option(`${flagOf(name)} <${definition.placeholder}>`, description))
  }
  return command.option('--config <FILE>', 'YAML file with the same settings, by name: adminPort, logLevel, …')
}

/**
 * Returns the configuration of a command whose options `addOptions` gave. Throws UsageError with the flag or key that
 * is wrong.
 */
export function readConfig(command: Command): Config {
  const flags: Readonly<Record<string, unknown>> = command.opts()
  const file = typeof flags.config === 'string' ? readConfigFile(flags.config) : {}
  const names = Object.keys(definitions) as OptionName[]
  const chosen = (name: OptionName) => {
    if (flags[name] !== undefined) return parseValue(name, String(flags[name]), flagOf(name))
    if (file[name] !== undefined) return parseValue(name, String(file[name]), `${flags.config}: ${name}`)
    return definitions[name].default
  }
  const config = Object.fromEntries(names.map(name => [name, chosen(name)])) as Config
  checkMarks(config)
  checkProxyMode(config)
  checkMasquerading(config)
  checkSource(config)
  return config
}

function checkMarks(config: Config): void {
  const marks = ['steeringMark', 'envoyMark', 'masqueradeMark'] as const
  for (const [index, one] of marks.entries()) {
    const other = marks.slice(index + 1).find(name => config[name] === config[one])
    if (!other) continue
    throw new UsageError(`${flagOf(one)} and ${flagOf(other)} are the same bit (${hex(config[one])}); choose two`)
  }
}

function checkProxyMode({ clientAddress, proxyMode }: Config): void {
  if (clientAddress !== 'preserve' || backendOf(proxyMode).capabilities.preservesClient) return
  const able = backends.filter(({ capabilities }) => capabilities.preservesClient).map(({ name }) => name)
  throw new UsageError(`${flagOf('clientAddress')} preserve needs ${flagOf('proxyMode')} ${able.join(' or ')}`)
}

function checkMasquerading(config: Config): void {
  const needed = { BridgeInterface: 'podBridgeInterface', InterfaceNamePrefix: 'podInterfaceNamePrefix' } as const
  for (const [mode, name] of Object.entries(needed)) {
    if (config.detectLocalMode !== mode || config[name] !== undefined) continue
    throw new UsageError(`${flagOf('detectLocalMode')}=${mode} needs ${flagOf(name)}`)
  }
  if (config.masqueradeAll && config.clientAddress === 'preserve') {
    throw new UsageError('--masquerade-all=on takes away the address that --client-address=preserve keeps; choose one')
  }
}

function checkSource(config: Config): void {
  const { source, controlPlanes, controlPlaneService, controlPlaneAuthority } = config
  const given = { source, controlPlanes: controlPlanes[0], controlPlaneService }
  const [one, other] = (Object.keys(given) as (keyof typeof given)[]).filter(name => given[name] !== undefined)
  if (one && other) {
    throw new UsageError(`${flagOf(one)} and ${flagOf(other)} both say where Services come from; choose one`)
  }
  if (controlPlaneService && controlPlaneAuthority === undefined) {
    throw new UsageError(`${flagOf('controlPlaneService')} needs ${flagOf('controlPlaneAuthority')}`)
  }
}

function parseValue(name: OptionName, value: string, where: string): unknown {
  const definition: Definition<unknown> = definitions[name]
  const parsed = definition.parse(value)
  if (parsed === undefined)
    throw new UsageError(`${where} is ${JSON.stringify(value)}, which is not ${definition.accepts}`)
  return parsed
}

function readConfigFile(file: string): Readonly<Record<string, unknown>> {
  const content = parseConfigFile(file) ?? {}
  if (typeof content !== 'object' || Array.isArray(content))
    throw new UsageError(`${file} is not a mapping of settings`)
  for (const [key, value] of Object.entries(content)) {
    if (!Object.hasOwn(definitions, key)) {
      throw new UsageError(`${file}: there is no setting ${key}; there are ${Object.keys(definitions).join(', ')}`)
    }
    if (typeof value === 'object') throw new UsageError(`${file}: ${key} is not a single value`)
  }
  return content as Readonly<Record<string, unknown>>
}

function parseConfigFile(file: string): unknown {
  try {
    return parseYaml(readFileSync(file, 'utf8'))
  } catch (error) {
    // The YAML library quotes the position below its first line.
    const [reason = ''] = (error as Error).message.split(/:?\n/)
    throw new UsageError(`${file}, given with --config, cannot be read: ${reason}`)
  }
}
