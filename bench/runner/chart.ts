/** Plots as plain data: what is drawn, not how (report/plots.ts). */

export interface Chart {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  /** One for each variant. */
  readonly lines: readonly Line[]
  /** Vertical marks with a word, such as the moment of a fault. */
  readonly marks?: readonly { readonly at: number; readonly text: string }[]
}

export interface Axis {
  readonly title: string
  readonly log?: boolean
}

export interface Line {
  readonly name: string
  readonly points: readonly (readonly [x: number, y: number])[]
}
