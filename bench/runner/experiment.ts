/**
 * An experiment is data: what it shows, how it is run in its short and its full form, and the function that measures. A run of it
 * gives tables and charts, which are the same kind of data for all experiments (results.ts).
 */

import type { Chart } from './chart.ts'

/** `short` is for a look, `full` for figures to quote. */
export type Length = 'short' | 'full'

export interface Experiment<Options = object> {
  /** As on the command line, and that of its result's file. */
  readonly name: string
  readonly title: string
  /** A sentence or two of Markdown for the report: what is measured, and how. */
  readonly shows: string
  /** How long it takes on two cores, minutes; the progress says it until a run has. */
  readonly minutes: Readonly<Record<Length, number>>
  readonly options: Readonly<Record<Length, Options>>
  readonly measure: (run: Run, options: Options) => Promise<Findings>
}

/** Has the compiler check an experiment's options against its measuring function; to whoever runs them all are alike. */
export function experiment<Options extends object>(one: Experiment<Options>): Experiment {
  return { ...one, measure: (run, options) => one.measure(run, options as Options) }
}

/** An experiment under way. */
export interface Run {
  /**
   * Measures a part and keeps what it gives (JSON), so that a run that was interrupted goes on behind it.
   * @param name of this part, once in the experiment
   */
  step<T>(name: string, measure: () => Promise<T>): Promise<T>
}

export interface Findings {
  readonly tables: readonly Table[]
  readonly charts?: readonly Chart[]
  /** Everything that was measured. */
  readonly data: object
}

export interface Table {
  readonly title: string
  readonly header: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly notes: readonly string[]
}

/** A table with everything that was measured for it. */
export interface Report extends Table {
  readonly data: object
}

/** Findings of several tables, each with its data. */
export function findings(...reports: readonly Report[]): Findings {
  const tables = reports.map(({ data: _, ...table }) => table)
  return { tables, data: reports.length === 1 ? reports[0]!.data : Object.fromEntries(reports.map(dataByTitle)) }
}

function dataByTitle({ title, data }: Report): readonly [string, object] {
  return [title, data]
}
