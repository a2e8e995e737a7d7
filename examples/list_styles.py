"""The styles there are, and their networks: python list_styles.py"""

import pleinair

for name in pleinair.styles():
    model = pleinair.load_style(name, bits=8)
    print(f"{name}: {model.network.macs_per_pixel():.0f} multiplications a pixel, halo {model.network.halo}")
