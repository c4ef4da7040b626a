/** The namespace of everything that deploy/ installs. */
export const namespace = 'lightpath-system'
