/**
 * Defines everything that can be configured: one table for the flags, for the YAML file given with --config, and for
 * --help.
 */

import { controlPlaneOptions } from './options/controlplane.ts'
import type { Definition } from './options/definition.ts'
import { envoyOptions } from './options/envoy.ts'
import { generalOptions } from './options/general.ts'
import { kernelOptions } from './options/kernel.ts'
import { webhookOptions } from './options/webhook.ts'

export const definitions = {
  ...generalOptions,
  ...envoyOptions,
  ...kernelOptions,
  ...webhookOptions,
  ...controlPlaneOptions,
}

export type OptionName = keyof typeof definitions
export type Config = { readonly [name in OptionName]: (typeof definitions)[name]['default'] }

/** `--log-level` */
export function flagOf(name: OptionName): string {
  return `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

/** The default in words; undefined where there is none. */
export function describeDefault(name: OptionName): string | undefined {
  const definition: Definition<unknown> = definitions[name]
  const value = definition.defaultText ?? definition.default
  return value === undefined ? undefined : String(value)
}
