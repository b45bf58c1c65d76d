/**
 * Version of what coordinator and workers say to each other: registration, and the control link. Both sides must have the
 * same; it rises with each change that the other side would not understand.
 */
export const clusterProtocol = 3;
