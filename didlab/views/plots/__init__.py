"""Plots: plain values in, matplotlib's Axes out. matplotlib is imported where something is drawn.

Colours, fonts and backgrounds are those of the style that is active, so that plots look right on
light and dark; nothing here changes a setting, and nothing is shown but by who called.
"""
