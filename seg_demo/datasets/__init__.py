"""What people collect: folders of images with their masks, in the format that training reads. Start at ``store.Store``."""
