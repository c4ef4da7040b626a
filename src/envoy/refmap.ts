import type { ResourceRef, TypeUrl } from './resource.ts'

/**
 * A map of values by resource. Its keys are the resources' own names; joined with their types each would be a string of
 * its own.
 */
export class RefMap<Value> {
  readonly #types = new Map<TypeUrl, Map<string, Value>>()

  get({ typeUrl, name }: ResourceRef): Value | undefined {
    return this.#types.get(typeUrl)?.get(name)
  }

  set({ typeUrl, name }: ResourceRef, value: Value): void {
    const values = this.#types.get(typeUrl) ?? new Map<string, Value>()
    this.#types.set(typeUrl, values.set(name, value))
  }

  delete({ typeUrl, name }: ResourceRef): void {
    this.#types.get(typeUrl)?.delete(name)
  }
}
