from keras_attention.utils.optional_imports import require_extra

require_extra("viz", "keras_attention.viz")

from keras_attention.viz.alignment import alignment as alignment
from keras_attention.viz.alignment import save as save
from keras_attention.viz.overlay import animation as animation
from keras_attention.viz.overlay import overlay as overlay
