import type { Shape } from './values.ts'

export interface Definition<T> extends Shape<T> {
  readonly description: string
  readonly default: T
  /** The default for --help where its value does not say it. */
  readonly defaultText?: string
}
